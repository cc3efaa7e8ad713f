-- The catalogue of an example cosmetics shop, one product a line.
-- Load it:  sqlite3 catalogue.db < catalogue.sql
-- All brands but the first are invented, and so are all the prices, stocks and ratings.

create table products (
  sku        text primary key,          -- CL cleanser, TO toner, SE serum, MO moisturizer, SU sunscreen, MA mask
  category   text not null,             -- cleanser|toner|serum|moisturizer|sunscreen|mask
  name_zh    text not null unique,      -- the full name with the brand
  name_en    text not null unique,
  formula_zh text not null,
  formula_en text not null,
  reason_zh  text not null,             -- one sentence: why it is good for the skin types it suits
  reason_en  text not null,
  gender     text not null check (gender in ('any','female','male')),
  age_min    integer not null,
  age_max    integer not null,
  price      integer not null,          -- whole yuan
  stock      integer not null,          -- 0: sold out
  rating     real not null              -- 3.5 to 4.9, different for each product of a category
);

-- The skin types a product suits.
create table suits (
  sku        text not null references products(sku),
  skin_type  text not null,             -- dry|oily|normal|combination_dry|combination_oily|sensitive
  primary key (sku, skin_type)
);


-- cleanser

insert into products
  (sku, category, name_zh, name_en, formula_zh, formula_en, reason_zh, reason_en,
   gender, age_min, age_max, price, stock, rating) values
  ('CL-001', 'cleanser', '佰草集净透保湿洁面乳', 'Herborist Purifying Moisture Cleansing Milk', '氨基酸表活', 'amino-acid surfactants', '氨基酸配方，清洁而不带走水分，适合混合偏干的肌肤。', 'The amino-acid formula cleans without taking the moisture away, which suits combination skin that leans dry.', 'any', 16, 55, 89, 36, 4.9),
  ('CL-002', 'cleanser', '清屿氨基酸温和洁面乳', 'Qingyu Amino Gentle Face Wash', '氨基酸表活、甘油', 'amino-acid surfactants, glycerin', '氨基酸表活温和，甘油留住水分，适合干性、混合偏干和中性的肌肤。', 'Mild amino-acid surfactants with glycerin keep moisture in, for dry, combination-dry and normal skin.', 'any', 12, 99, 58, 80, 4.62),
  ('CL-003', 'cleanser', '棠笙米糠滋润洁面霜', 'Tangsheng Rice Bran Cleansing Cream', '米糠油、甘油', 'rice bran oil, glycerin', '霜状质地含米糠油，洗后不紧绷，适合干性肌肤。', 'A cream texture with rice bran oil leaves dry skin without tightness.', 'any', 16, 99, 49, 45, 4.4),
  ('CL-004', 'cleanser', '雪岑神经酰胺洁面乳', 'Xuecen Ceramide Cleansing Milk', '神经酰胺、葡糖苷表活', 'ceramides, glucoside surfactants', '低泡配方含神经酰胺，清洁力柔和，适合干性和敏感的肌肤。', 'A low-foam formula with ceramides cleans softly, for dry and sensitive skin.', 'any', 16, 99, 128, 22, 4.76),
  ('CL-005', 'cleanser', '清屿净油泡沫洁面乳', 'Qingyu Oil-Clear Foaming Cleanser', '氨基酸与皂基复配', 'amino-acid and soap blend', '泡沫细密，能洗去多余油脂，适合油性和混合偏油的肌肤。', 'Its fine foam washes off excess oil, for oily and combination-oily skin.', 'any', 12, 99, 45, 60, 4.35),
  ('CL-006', 'cleanser', '朗峤火山泥控油洁面膏', 'Langqiao Volcanic Clay Cleanser for Men', '火山泥、椰油酰表活', 'volcanic clay, coconut-derived surfactants', '火山泥吸附油脂，适合出油较多的男士油性和混合偏油肌肤。', 'Volcanic clay absorbs oil, for men with oily or combination-oily skin.', 'male', 16, 60, 79, 33, 4.58),
  ('CL-007', 'cleanser', '岚序茶树洁面啫喱', 'Lanxu Tea Tree Cleansing Gel', '茶树叶油、氨基酸表活', 'tea tree oil, amino-acid surfactants', '啫喱质地清爽，洗后不留油膜，适合油性肌肤。', 'A light gel that rinses off without a film, for oily skin.', 'any', 14, 99, 69, 40, 4.66),
  ('CL-008', 'cleanser', '苓溪茯苓绿豆洁面乳', 'Lingxi Poria and Mung Bean Cleansing Milk', '茯苓提取物、绿豆粉', 'poria extract, mung bean powder', '绿豆粉带走T区油脂，两颊不紧绷，适合混合偏油的肌肤。', 'Mung bean powder lifts oil from the T-zone and leaves the cheeks comfortable, for combination-oily skin.', 'any', 16, 99, 92, 28, 4.71),
  ('CL-009', 'cleanser', '苓溪舒缓无皂基洁面乳', 'Lingxi Calming Soap-Free Face Wash', '无皂基、无香精、洋甘菊', 'soap-free, fragrance-free, chamomile', '不含皂基和香精，减少刺激，适合敏感肌肤。', 'Free of soap and fragrance to limit irritation, for sensitive skin.', 'any', 12, 99, 55, 50, 4.52),
  ('CL-010', 'cleanser', '维朵娜燕麦低敏洁面慕斯', 'Vedorna Oat Hypoallergenic Cleansing Mousse', '燕麦提取物、无香精', 'oat extract, fragrance-free', '慕斯减少揉搓，燕麦成分柔和，适合敏感和干性的肌肤。', 'The mousse needs little rubbing and oat is mild, for sensitive and dry skin.', 'any', 16, 99, 118, 18, 4.81),
  ('CL-011', 'cleanser', '初砾每日洁面乳', 'Chuli Daily Face Wash', '氨基酸与甜菜碱表活', 'amino-acid and betaine surfactants', '成分简单，清洁力适中，适合中性肌肤每天使用。', 'A simple formula with moderate cleansing, for normal skin every day.', 'any', 12, 99, 29, 120, 4.1),
  ('CL-012', 'cleanser', '沐砚绿茶平衡洁面乳', 'Muyan Green Tea Balancing Cleanser', '绿茶提取物、氨基酸表活', 'green tea extract, amino-acid surfactants', '绿茶配方清爽不干涩，适合中性和混合偏油的肌肤。', 'The green tea formula feels fresh without drying, for normal and combination-oily skin.', 'any', 16, 99, 65, 37, 4.48),
  ('CL-013', 'cleanser', '奥芙琳玫瑰柔润洁面乳', 'Orflyn Rose Softening Cleansing Milk', '玫瑰花水、甘油', 'rose water, glycerin', '玫瑰花水与甘油让洗后柔润，适合女士干性和中性的肌肤。', 'Rose water and glycerin leave skin soft, for women with dry or normal skin.', 'female', 25, 60, 159, 15, 4.68),
  ('CL-014', 'cleanser', '朗峤保湿洁面乳', 'Langqiao Hydrating Face Wash for Men', '氨基酸表活、泛醇', 'amino-acid surfactants, panthenol', '泛醇帮助保湿，剃须后使用也不紧绷，适合男士干性、混合偏干和中性的肌肤。', 'Panthenol helps hold moisture, also after shaving, for men with dry, combination-dry or normal skin.', 'male', 16, 65, 72, 26, 4.46),
  ('CL-015', 'cleanser', '初砾水杨酸洁面啫喱', 'Chuli Salicylic Cleansing Gel', '水杨酸0.5%', '0.5% salicylic acid', '低浓度水杨酸帮助清洁毛孔，适合年轻的油性肌肤。', 'Low-strength salicylic acid helps clean the pores, for young oily skin.', 'any', 16, 35, 52, 0, 4.55),
  ('CL-016', 'cleanser', '雪岑角鲨烷洁面膏', 'Xuecen Squalane Cleansing Balm', '角鲨烷、植物油', 'squalane, plant oils', '膏状遇水乳化，洗后保留油润感，适合干性肌肤。', 'The balm turns to milk with water and leaves dry skin supple.', 'any', 20, 99, 239, 0, 4.73),
  ('CL-017', 'cleanser', '维朵娜山茶花洁面乳', 'Vedorna Camellia Cleansing Milk', '山茶籽油、氨基酸表活', 'camellia seed oil, amino-acid surfactants', '山茶籽油减轻两颊干燥，适合女士混合偏干的肌肤。', 'Camellia seed oil eases dry cheeks, for women with combination-dry skin.', 'female', 18, 60, 138, 0, 4.6),
  ('CL-018', 'cleanser', '沐砚竹炭洁面泡沫', 'Muyan Bamboo Charcoal Foam Cleanser', '竹炭粉、皂基', 'bamboo charcoal, soap base', '清洁力较强，适合油性和混合偏油的肌肤在夏天使用。', 'A stronger cleanser for oily and combination-oily skin in summer.', 'any', 18, 60, 38, 24, 3.8),
  ('CL-019', 'cleanser', '棠笙蜂蜜洁面膏', 'Tangsheng Honey Cleansing Paste', '蜂蜜、氨基酸表活', 'honey, amino-acid surfactants', '蜂蜜帮助保湿，泡沫柔和，适合混合偏干和中性的肌肤。', 'Honey helps keep moisture under a soft foam, for combination-dry and normal skin.', 'any', 16, 99, 46, 31, 4.25),
  ('CL-020', 'cleanser', '清屿青春净颜洁面乳', 'Qingyu Teen Fresh Face Wash', '氨基酸表活、锌盐', 'amino-acid surfactants, zinc salt', '锌盐帮助减少油光，为青少年中性和混合偏油的肌肤设计。', 'Zinc salt helps reduce shine, made for teenagers with normal or combination-oily skin.', 'any', 12, 22, 39, 52, 4.3),
  ('CL-021', 'cleanser', '岚序海藻洁面啫喱', 'Lanxu Seaweed Cleansing Gel', '海藻提取物、甜菜碱表活', 'seaweed extract, betaine surfactants', '啫喱易冲洗，兼顾控油与保湿，适合混合偏油的肌肤。', 'An easy-rinse gel that balances oil and moisture, for combination-oily skin.', 'any', 16, 99, 56, 0, 4.2),
  ('CL-022', 'cleanser', '奥芙琳酵母润养洁面霜', 'Orflyn Yeast Ferment Cleansing Cream', '酵母发酵产物、角鲨烷', 'yeast ferment, squalane', '质地丰润，洗后不拔干，适合熟龄女士干性和混合偏干的肌肤。', 'A rich cream that does not strip, for mature women with dry or combination-dry skin.', 'female', 40, 75, 329, 9, 4.64);

insert into suits (sku, skin_type) values
  ('CL-001', 'combination_dry'),
  ('CL-002', 'dry'), ('CL-002', 'combination_dry'), ('CL-002', 'normal'),
  ('CL-003', 'dry'),
  ('CL-004', 'dry'), ('CL-004', 'sensitive'),
  ('CL-005', 'oily'), ('CL-005', 'combination_oily'),
  ('CL-006', 'oily'), ('CL-006', 'combination_oily'),
  ('CL-007', 'oily'),
  ('CL-008', 'combination_oily'),
  ('CL-009', 'sensitive'),
  ('CL-010', 'sensitive'), ('CL-010', 'dry'),
  ('CL-011', 'normal'),
  ('CL-012', 'normal'), ('CL-012', 'combination_oily'),
  ('CL-013', 'dry'), ('CL-013', 'normal'),
  ('CL-014', 'dry'), ('CL-014', 'combination_dry'), ('CL-014', 'normal'),
  ('CL-015', 'oily'),
  ('CL-016', 'dry'),
  ('CL-017', 'combination_dry'),
  ('CL-018', 'oily'), ('CL-018', 'combination_oily'),
  ('CL-019', 'combination_dry'), ('CL-019', 'normal'),
  ('CL-020', 'normal'), ('CL-020', 'combination_oily'),
  ('CL-021', 'combination_oily'),
  ('CL-022', 'dry'), ('CL-022', 'combination_dry');

-- toner

insert into products
  (sku, category, name_zh, name_en, formula_zh, formula_en, reason_zh, reason_en,
   gender, age_min, age_max, price, stock, rating) values
  ('TO-001', 'toner', '清屿玻尿酸保湿爽肤水', 'Qingyu Hyaluronic Hydrating Toner', '玻尿酸、甘油', 'hyaluronic acid, glycerin', '玻尿酸吸水保湿，适合干性、混合偏干和中性的肌肤。', 'Hyaluronic acid binds water, for dry, combination-dry and normal skin.', 'any', 12, 99, 79, 50, 4.6),
  ('TO-002', 'toner', '岚序金缕梅平衡爽肤水', 'Lanxu Witch Hazel Balancing Toner', '金缕梅提取物', 'witch hazel extract', '金缕梅带来清爽感，适合油性和混合偏油的肌肤。', 'Witch hazel leaves a fresh feel, for oily and combination-oily skin.', 'any', 14, 99, 68, 44, 4.4),
  ('TO-003', 'toner', '苓溪洋甘菊舒缓爽肤水', 'Lingxi Chamomile Calming Toner', '洋甘菊、无酒精、无香精', 'chamomile, no alcohol, no fragrance', '不含酒精和香精，使用感温和，适合敏感肌肤。', 'Without alcohol or fragrance it feels mild, for sensitive skin.', 'any', 12, 99, 98, 30, 4.7),
  ('TO-004', 'toner', '棠笙米发酵化妆水', 'Tangsheng Rice Ferment Toner', '大米发酵滤液', 'rice ferment filtrate', '大米发酵滤液水润不黏，适合中性和混合偏干的肌肤。', 'Rice ferment filtrate hydrates without stickiness, for normal and combination-dry skin.', 'any', 16, 99, 149, 25, 4.5),
  ('TO-005', 'toner', '朗峤清爽爽肤水', 'Langqiao Fresh Toner for Men', '薄荷醇、锌盐', 'menthol, zinc salt', '锌盐帮助减少油光，适合男士油性、混合偏油和中性的肌肤。', 'Zinc salt helps reduce shine, for men with oily, combination-oily or normal skin.', 'male', 16, 60, 75, 38, 4.2),
  ('TO-006', 'toner', '雪岑神经酰胺柔肤水', 'Xuecen Ceramide Softening Toner', '神经酰胺、泛醇', 'ceramides, panthenol', '神经酰胺帮助减少水分流失，适合干性和敏感的肌肤。', 'Ceramides help slow water loss, for dry and sensitive skin.', 'any', 18, 99, 188, 16, 4.8),
  ('TO-007', 'toner', '维朵娜玫瑰花水', 'Vedorna Rose Water Toner', '大马士革玫瑰花水', 'damask rose water', '玫瑰花水清润，适合女士干性和混合偏干的肌肤。', 'Rose water refreshes and hydrates, for women with dry or combination-dry skin.', 'female', 20, 60, 169, 0, 4.65),
  ('TO-008', 'toner', '初砾绿茶爽肤水', 'Chuli Green Tea Toner', '绿茶提取物', 'green tea extract', '质地轻薄，吸收快，适合中性和混合偏油的肌肤。', 'Light and quick to absorb, for normal and combination-oily skin.', 'any', 12, 99, 35, 90, 4.0),
  ('TO-009', 'toner', '奥芙琳烟酰胺爽肤水', 'Orflyn Niacinamide Toner', '烟酰胺2%', '2% niacinamide', '烟酰胺帮助调节油脂，适合女士油性和混合偏油的肌肤。', 'Niacinamide helps regulate oil, for women with oily or combination-oily skin.', 'female', 18, 50, 216, 21, 4.55),
  ('TO-010', 'toner', '沐砚芦荟爽肤水', 'Muyan Aloe Toner', '芦荟汁', 'aloe juice', '芦荟汁补充水分，适合干性、混合偏干和中性的肌肤。', 'Aloe juice adds moisture, for dry, combination-dry and normal skin.', 'any', 12, 99, 42, 60, 3.9);

insert into suits (sku, skin_type) values
  ('TO-001', 'dry'), ('TO-001', 'combination_dry'), ('TO-001', 'normal'),
  ('TO-002', 'oily'), ('TO-002', 'combination_oily'),
  ('TO-003', 'sensitive'),
  ('TO-004', 'normal'), ('TO-004', 'combination_dry'),
  ('TO-005', 'oily'), ('TO-005', 'combination_oily'), ('TO-005', 'normal'),
  ('TO-006', 'dry'), ('TO-006', 'sensitive'),
  ('TO-007', 'dry'), ('TO-007', 'combination_dry'),
  ('TO-008', 'normal'), ('TO-008', 'combination_oily'),
  ('TO-009', 'oily'), ('TO-009', 'combination_oily'),
  ('TO-010', 'dry'), ('TO-010', 'combination_dry'), ('TO-010', 'normal');

-- serum

insert into products
  (sku, category, name_zh, name_en, formula_zh, formula_en, reason_zh, reason_en,
   gender, age_min, age_max, price, stock, rating) values
  ('SE-001', 'serum', '清屿玻尿酸保湿精华液', 'Qingyu Hyaluronic Hydrating Serum', '三重分子量玻尿酸', 'hyaluronic acid in three weights', '不同分子量的玻尿酸保湿，适合干性、混合偏干和中性的肌肤。', 'Hyaluronic acid of several weights hydrates dry, combination-dry and normal skin.', 'any', 16, 99, 139, 40, 4.5),
  ('SE-002', 'serum', '岚序烟酰胺清润精华液', 'Lanxu Niacinamide Clear Serum', '烟酰胺4%', '4% niacinamide', '烟酰胺帮助调节油脂，质地清爽，适合油性和混合偏油的肌肤。', 'Niacinamide helps regulate oil in a light texture, for oily and combination-oily skin.', 'any', 16, 99, 129, 35, 4.6),
  ('SE-003', 'serum', '雪岑泛醇舒缓精华液', 'Xuecen Panthenol Calming Serum', '泛醇5%、无香精', '5% panthenol, fragrance-free', '泛醇帮助保湿舒缓，适合敏感和干性的肌肤。', 'Panthenol helps hydrate and calm, for sensitive and dry skin.', 'any', 16, 99, 228, 20, 4.75),
  ('SE-004', 'serum', '奥芙琳多肽紧润精华液', 'Orflyn Peptide Firming Serum', '多肽、玻尿酸', 'peptides, hyaluronic acid', '多肽搭配玻尿酸，适合女士干性、混合偏干和中性的熟龄肌肤。', 'Peptides with hyaluronic acid, for mature women with dry, combination-dry or normal skin.', 'female', 30, 75, 499, 12, 4.8),
  ('SE-005', 'serum', '维朵娜维C亮泽精华液', 'Vedorna Vitamin C Glow Serum', '维生素C衍生物', 'vitamin C derivative', '较稳定的维C衍生物，质地水润，适合中性和混合偏油的肌肤。', 'A stable vitamin C derivative in a watery texture, for normal and combination-oily skin.', 'any', 18, 99, 269, 18, 4.4),
  ('SE-006', 'serum', '朗峤活力保湿精华露', 'Langqiao Energy Hydrating Serum for Men', '玻尿酸、咖啡因', 'hyaluronic acid, caffeine', '质地轻薄不黏，适合男士中性和混合偏油的肌肤。', 'Light and not sticky, for men with normal or combination-oily skin.', 'male', 16, 65, 159, 22, 4.2),
  ('SE-007', 'serum', '苓溪积雪草精华液', 'Lingxi Centella Serum', '积雪草提取物', 'centella extract', '积雪草帮助舒缓，质地清爽，适合敏感和油性的肌肤。', 'Centella helps calm in a light texture, for sensitive and oily skin.', 'any', 16, 99, 178, 0, 4.7),
  ('SE-008', 'serum', '沐砚角鲨烷精华油', 'Muyan Squalane Facial Oil Serum', '植物角鲨烷', 'plant squalane', '角鲨烷锁住水分，适合干性肌肤。', 'Squalane seals in moisture for dry skin.', 'any', 20, 99, 199, 14, 4.35),
  ('SE-009', 'serum', '初砾锌净精华液', 'Chuli Zinc Clarifying Serum', 'PCA锌', 'zinc PCA', 'PCA锌帮助减少油光，适合年轻的油性肌肤。', 'Zinc PCA helps reduce shine on young oily skin.', 'any', 14, 40, 59, 46, 4.1),
  ('SE-010', 'serum', '奥芙琳视黄醇夜间精华液', 'Orflyn Retinol Night Serum', '视黄醇0.1%', '0.1% retinol', '低浓度视黄醇，夜间使用并注意白天防晒，适合中性和混合偏油的肌肤。', 'Low-strength retinol for the night, with sunscreen by day, for normal and combination-oily skin.', 'any', 28, 70, 599, 0, 4.65),
  ('SE-011', 'serum', '棠笙银耳多糖精华液', 'Tangsheng Tremella Serum', '银耳多糖', 'tremella polysaccharide', '银耳多糖保湿不油腻，适合混合偏干的肌肤。', 'Tremella polysaccharide hydrates without grease, for combination-dry skin.', 'any', 16, 99, 168, 27, 4.3);

insert into suits (sku, skin_type) values
  ('SE-001', 'dry'), ('SE-001', 'combination_dry'), ('SE-001', 'normal'),
  ('SE-002', 'oily'), ('SE-002', 'combination_oily'),
  ('SE-003', 'sensitive'), ('SE-003', 'dry'),
  ('SE-004', 'dry'), ('SE-004', 'combination_dry'), ('SE-004', 'normal'),
  ('SE-005', 'normal'), ('SE-005', 'combination_oily'),
  ('SE-006', 'normal'), ('SE-006', 'combination_oily'),
  ('SE-007', 'sensitive'), ('SE-007', 'oily'),
  ('SE-008', 'dry'),
  ('SE-009', 'oily'),
  ('SE-010', 'normal'), ('SE-010', 'combination_oily'),
  ('SE-011', 'combination_dry');

-- moisturizer

insert into products
  (sku, category, name_zh, name_en, formula_zh, formula_en, reason_zh, reason_en,
   gender, age_min, age_max, price, stock, rating) values
  ('MO-001', 'moisturizer', '雪岑神经酰胺润养面霜', 'Xuecen Ceramide Nourishing Cream', '神经酰胺、胆固醇', 'ceramides, cholesterol', '神经酰胺帮助减少水分流失，适合干性和敏感的肌肤。', 'Ceramides help slow water loss, for dry and sensitive skin.', 'any', 16, 99, 258, 26, 4.8),
  ('MO-002', 'moisturizer', '清屿轻盈保湿凝霜', 'Qingyu Light Hydrating Gel Cream', '玻尿酸、无油配方', 'hyaluronic acid, oil-free', '无油凝霜保湿不厚重，适合油性和混合偏油的肌肤。', 'An oil-free gel cream that is not heavy, for oily and combination-oily skin.', 'any', 12, 99, 88, 48, 4.5),
  ('MO-003', 'moisturizer', '棠笙乳木果滋润面霜', 'Tangsheng Shea Butter Rich Cream', '乳木果油', 'shea butter', '乳木果油滋润，适合干性肌肤在秋冬使用。', 'Shea butter nourishes dry skin in autumn and winter.', 'any', 16, 99, 99, 33, 4.3),
  ('MO-004', 'moisturizer', '苓溪燕麦舒缓面霜', 'Lingxi Oat Calming Cream', '燕麦提取物、无香精', 'oat extract, fragrance-free', '不含香精，燕麦成分柔和，适合敏感肌肤。', 'Fragrance-free with mild oat, for sensitive skin.', 'any', 12, 99, 136, 29, 4.7),
  ('MO-005', 'moisturizer', '沐砚角鲨烷保湿乳液', 'Muyan Squalane Moisture Lotion', '角鲨烷、甘油', 'squalane, glycerin', '滋润两颊而T区不油，适合混合偏干和中性的肌肤。', 'Moistens the cheeks without greasing the T-zone, for combination-dry and normal skin.', 'any', 16, 99, 119, 41, 4.55),
  ('MO-006', 'moisturizer', '朗峤多效保湿乳液', 'Langqiao All-Day Moisture Lotion for Men', '甘油、硅石', 'glycerin, silica', '硅石减少油光，适合男士中性、油性和混合偏油的肌肤。', 'Silica reduces shine, for men with normal, oily or combination-oily skin.', 'male', 16, 65, 89, 36, 4.2),
  ('MO-007', 'moisturizer', '维朵娜胶原弹润晚霜', 'Vedorna Collagen Night Cream', '水解胶原、乳木果油', 'hydrolysed collagen, shea butter', '夜间保湿，质地丰润，适合熟龄女士干性和混合偏干的肌肤。', 'A rich night cream that hydrates, for mature women with dry or combination-dry skin.', 'female', 35, 75, 468, 10, 4.6),
  ('MO-008', 'moisturizer', '初砾日常保湿乳液', 'Chuli Everyday Lotion', '甘油、泛醇', 'glycerin, panthenol', '成分简单，保湿适中，适合中性肌肤。', 'A simple formula with moderate moisture, for normal skin.', 'any', 12, 99, 39, 85, 4.0),
  ('MO-009', 'moisturizer', '岚序控油保湿乳液', 'Lanxu Oil-Control Lotion', '硅石、烟酰胺', 'silica, niacinamide', '保湿同时减少油光，适合油性肌肤。', 'Hydrates while reducing shine, for oily skin.', 'any', 14, 99, 76, 0, 4.4),
  ('MO-010', 'moisturizer', '奥芙琳多肽臻润面霜', 'Orflyn Peptide Supreme Cream', '多肽、神经酰胺', 'peptides, ceramides', '多肽与神经酰胺保湿滋养，适合熟龄女士干性、混合偏干和中性的肌肤。', 'Peptides and ceramides moisturize and nourish, for mature women with dry, combination-dry or normal skin.', 'female', 40, 80, 699, 6, 4.85),
  ('MO-011', 'moisturizer', '朗峤滋润面霜', 'Langqiao Rich Cream for Men', '乳木果油、维生素E', 'shea butter, vitamin E', '缓解剃须后的干燥，适合男士干性和混合偏干的肌肤。', 'Eases dryness after shaving, for men with dry or combination-dry skin.', 'male', 25, 70, 149, 17, 4.35),
  ('MO-012', 'moisturizer', '清屿芦荟清润乳液', 'Qingyu Aloe Light Lotion', '芦荟汁、玻尿酸', 'aloe juice, hyaluronic acid', '质地水润，吸收快，适合中性和混合偏油的肌肤。', 'Watery and quick to absorb, for normal and combination-oily skin.', 'any', 12, 99, 62, 38, 4.1);

insert into suits (sku, skin_type) values
  ('MO-001', 'dry'), ('MO-001', 'sensitive'),
  ('MO-002', 'oily'), ('MO-002', 'combination_oily'),
  ('MO-003', 'dry'),
  ('MO-004', 'sensitive'),
  ('MO-005', 'combination_dry'), ('MO-005', 'normal'),
  ('MO-006', 'normal'), ('MO-006', 'oily'), ('MO-006', 'combination_oily'),
  ('MO-007', 'dry'), ('MO-007', 'combination_dry'),
  ('MO-008', 'normal'),
  ('MO-009', 'oily'),
  ('MO-010', 'dry'), ('MO-010', 'combination_dry'), ('MO-010', 'normal'),
  ('MO-011', 'dry'), ('MO-011', 'combination_dry'),
  ('MO-012', 'normal'), ('MO-012', 'combination_oily');

-- sunscreen

insert into products
  (sku, category, name_zh, name_en, formula_zh, formula_en, reason_zh, reason_en,
   gender, age_min, age_max, price, stock, rating) values
  ('SU-001', 'sunscreen', '清屿清透防晒乳 SPF50+', 'Qingyu Clear Sunscreen Lotion SPF50+', '化学防晒剂、轻薄乳液', 'organic filters, light lotion', '质地轻薄不黏，适合油性、混合偏油和中性的肌肤。', 'Light and not sticky, for oily, combination-oily and normal skin.', 'any', 12, 99, 89, 70, 4.6),
  ('SU-002', 'sunscreen', '雪岑物理防晒霜 SPF30', 'Xuecen Mineral Sunscreen Cream SPF30', '氧化锌、无香精', 'zinc oxide, fragrance-free', '只用氧化锌防晒，不含香精，适合敏感和干性的肌肤。', 'Only zinc oxide as filter and no fragrance, for sensitive and dry skin.', 'any', 12, 99, 158, 34, 4.7),
  ('SU-003', 'sunscreen', '棠笙保湿防晒霜 SPF50', 'Tangsheng Moisture Sunscreen SPF50', '甘油、混合防晒剂', 'glycerin, mixed filters', '防晒同时保湿，适合干性和混合偏干的肌肤。', 'Protects and hydrates, for dry and combination-dry skin.', 'any', 16, 99, 109, 42, 4.5),
  ('SU-004', 'sunscreen', '岚序哑光防晒露 SPF50', 'Lanxu Matte Sunscreen Fluid SPF50', '硅石、化学防晒剂', 'silica, organic filters', '哑光不泛油，适合油性和混合偏油的肌肤。', 'A matte finish without shine, for oily and combination-oily skin.', 'any', 14, 99, 99, 29, 4.4),
  ('SU-005', 'sunscreen', '朗峤户外防晒乳 SPF50+', 'Langqiao Outdoor Sunscreen for Men SPF50+', '防水配方、混合防晒剂', 'water-resistant, mixed filters', '防水防汗，适合户外的男士中性、油性和混合偏油肌肤。', 'Resists water and sweat, for men outdoors with normal, oily or combination-oily skin.', 'male', 16, 65, 119, 31, 4.3),
  ('SU-006', 'sunscreen', '维朵娜润色防晒霜 SPF40', 'Vedorna Tinted Sunscreen SPF40', '氧化铁润色、甘油', 'iron oxide tint, glycerin', '轻微润色并保湿，适合女士中性和混合偏干的肌肤。', 'A light tint that also hydrates, for women with normal or combination-dry skin.', 'female', 18, 60, 189, 16, 4.55),
  ('SU-007', 'sunscreen', '初砾日常防晒乳 SPF30', 'Chuli Daily Sunscreen SPF30', '化学防晒剂', 'organic filters', '适合中性肌肤通勤使用。', 'For normal skin on the daily commute.', 'any', 12, 99, 49, 95, 3.9),
  ('SU-008', 'sunscreen', '沐砚角鲨烷防晒乳 SPF50', 'Muyan Squalane Sunscreen Lotion SPF50', '角鲨烷、混合防晒剂', 'squalane, mixed filters', '角鲨烷滋润两颊，适合混合偏干和中性的肌肤。', 'Squalane moistens the cheeks, for combination-dry and normal skin.', 'any', 16, 99, 128, 0, 4.65),
  ('SU-009', 'sunscreen', '苓溪低敏防晒乳 SPF35', 'Lingxi Hypoallergenic Sunscreen SPF35', '氧化锌、二氧化钛', 'zinc oxide, titanium dioxide', '物理防晒，无酒精无香精，适合敏感肌肤。', 'Mineral filters without alcohol or fragrance, for sensitive skin.', 'any', 12, 99, 136, 23, 4.45),
  ('SU-010', 'sunscreen', '奥芙琳臻护防晒霜 SPF50+', 'Orflyn Premium Sunscreen Cream SPF50+', '多肽、混合防晒剂', 'peptides, mixed filters', '霜状质地滋润，适合熟龄女士干性肌肤。', 'A nourishing cream texture, for mature women with dry skin.', 'female', 30, 75, 299, 11, 4.75);

insert into suits (sku, skin_type) values
  ('SU-001', 'oily'), ('SU-001', 'combination_oily'), ('SU-001', 'normal'),
  ('SU-002', 'sensitive'), ('SU-002', 'dry'),
  ('SU-003', 'dry'), ('SU-003', 'combination_dry'),
  ('SU-004', 'oily'), ('SU-004', 'combination_oily'),
  ('SU-005', 'normal'), ('SU-005', 'oily'), ('SU-005', 'combination_oily'),
  ('SU-006', 'normal'), ('SU-006', 'combination_dry'),
  ('SU-007', 'normal'),
  ('SU-008', 'combination_dry'), ('SU-008', 'normal'),
  ('SU-009', 'sensitive'),
  ('SU-010', 'dry');

-- mask

insert into products
  (sku, category, name_zh, name_en, formula_zh, formula_en, reason_zh, reason_en,
   gender, age_min, age_max, price, stock, rating) values
  ('MA-001', 'mask', '清屿玻尿酸补水面膜', 'Qingyu Hyaluronic Sheet Mask', '玻尿酸、甘油', 'hyaluronic acid, glycerin', '玻尿酸补充水分，适合干性、混合偏干和中性的肌肤。', 'Hyaluronic acid adds moisture, for dry, combination-dry and normal skin.', 'any', 12, 99, 69, 60, 4.5),
  ('MA-002', 'mask', '岚序高岭土清洁泥膜', 'Lanxu Kaolin Clay Mask', '高岭土', 'kaolin clay', '高岭土吸附油脂，每周一次，适合油性和混合偏油的肌肤。', 'Kaolin absorbs oil once a week, for oily and combination-oily skin.', 'any', 16, 99, 98, 35, 4.6),
  ('MA-003', 'mask', '苓溪积雪草舒缓面膜', 'Lingxi Centella Calming Mask', '积雪草、无香精', 'centella, fragrance-free', '积雪草帮助舒缓，不含香精，适合敏感肌肤。', 'Centella helps calm and there is no fragrance, for sensitive skin.', 'any', 14, 99, 119, 28, 4.7),
  ('MA-004', 'mask', '雪岑神经酰胺睡眠面膜', 'Xuecen Ceramide Sleeping Mask', '神经酰胺、角鲨烷', 'ceramides, squalane', '夜间锁水，免洗，适合干性和敏感的肌肤。', 'Leave it on overnight to hold moisture, for dry and sensitive skin.', 'any', 18, 99, 179, 18, 4.75),
  ('MA-005', 'mask', '朗峤竹炭清洁面膜', 'Langqiao Charcoal Mask for Men', '竹炭粉、高岭土', 'bamboo charcoal, kaolin', '竹炭吸附油脂，适合男士油性和混合偏油的肌肤。', 'Charcoal absorbs oil, for men with oily or combination-oily skin.', 'male', 16, 60, 79, 24, 4.2),
  ('MA-006', 'mask', '棠笙银耳润泽面膜', 'Tangsheng Tremella Moisture Mask', '银耳多糖', 'tremella polysaccharide', '银耳多糖保湿，适合混合偏干和中性的肌肤。', 'Tremella polysaccharide hydrates combination-dry and normal skin.', 'any', 16, 99, 85, 0, 4.4),
  ('MA-007', 'mask', '维朵娜玫瑰冻膜', 'Vedorna Rose Jelly Mask', '玫瑰花水、甘油', 'rose water, glycerin', '冻状质地水润，适合女士中性和干性的肌肤。', 'A hydrating jelly texture, for women with normal or dry skin.', 'female', 18, 60, 149, 20, 4.55),
  ('MA-008', 'mask', '初砾绿茶面膜', 'Chuli Green Tea Sheet Mask', '绿茶提取物', 'green tea extract', '清爽补水，适合中性和混合偏油的肌肤。', 'Fresh hydration for normal and combination-oily skin.', 'any', 12, 99, 32, 88, 4.0),
  ('MA-009', 'mask', '奥芙琳多肽紧润面膜', 'Orflyn Peptide Firming Mask', '多肽、玻尿酸', 'peptides, hyaluronic acid', '多肽搭配玻尿酸保湿，适合熟龄女士干性和混合偏干的肌肤。', 'Peptides with hyaluronic acid hydrate, for mature women with dry or combination-dry skin.', 'female', 30, 75, 399, 8, 4.8),
  ('MA-010', 'mask', '沐砚绿泥分区面膜', 'Muyan Green Clay Zone Mask', '绿泥、甘油', 'green clay, glycerin', 'T区用绿泥，两颊用保湿霜，适合混合偏油和混合偏干的肌肤。', 'Green clay for the T-zone and a moist cream for the cheeks, for combination-oily and combination-dry skin.', 'any', 16, 99, 109, 15, 4.3);

insert into suits (sku, skin_type) values
  ('MA-001', 'dry'), ('MA-001', 'combination_dry'), ('MA-001', 'normal'),
  ('MA-002', 'oily'), ('MA-002', 'combination_oily'),
  ('MA-003', 'sensitive'),
  ('MA-004', 'dry'), ('MA-004', 'sensitive'),
  ('MA-005', 'oily'), ('MA-005', 'combination_oily'),
  ('MA-006', 'combination_dry'), ('MA-006', 'normal'),
  ('MA-007', 'normal'), ('MA-007', 'dry'),
  ('MA-008', 'normal'), ('MA-008', 'combination_oily'),
  ('MA-009', 'dry'), ('MA-009', 'combination_dry'),
  ('MA-010', 'combination_oily'), ('MA-010', 'combination_dry');
